// Two sandboxes, a gate before the target, a daemon that publishes between them, and a Chromium that
// looks at its console. Everything listens on loopback and ends with the tests.
import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
// The packages live under target/, where nothing of them is committed.
const require = createRequire(path.join(ROOT, "target/console/tests.js"));
const { chromium } = require("playwright-core");
export const AXE = require("axe-core").source;

const TIDEMARK = path.join(ROOT, "target/debug/tidemark");
const BOUND = 60_000;

// A course that nobody may take for markup; what looks like an element is refused by the source itself.
export const HOSTILE = `A&amp;B "><3 '&lt;i&gt;`;
// Courses that the gate refuses.
export const REFUSED = ["ALG-1", HOSTILE];

export async function until(what, holds, bound = BOUND) {
  const end = Date.now() + bound;
  for (;;) {
    const seen = await holds();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`never came: ${what}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

// Stands before the target: refuses what it is told to, and can hold everything up.
class Gate {
  refusing = true;
  slow = 0;
  server = http.createServer((request, response) => this.pass(request, response));

  constructor(behind, { refusal, refused }) {
    this.behind = new URL(behind);
    Object.assign(this, { refusal, refused });
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  async listen() {
    await new Promise((go) => this.server.listen(0, "127.0.0.1", go));
  }

  async pass(request, response) {
    const body = await read(request);
    if (this.slow && request.method === "POST") await new Promise((go) => setTimeout(go, this.slow));
    const isCourse = request.method === "POST" && request.url.endsWith("/courses");
    if (this.refusing && isCourse && this.refused.includes(JSON.parse(body).courseCode)) {
      const problem = {
        type: "urn:ed-fi:api:bad-request:data-validation-failed", title: "Data Validation Failed", status: 400,
        detail: this.refusal, validationErrors: { "$.courseTitle": ["too long"] },
      };
      response.writeHead(400, { "Content-Type": "application/problem+json" });
      return response.end(JSON.stringify(problem));
    }
    const headers = { ...request.headers, host: this.behind.host, connection: "close" };
    const onward = http.request(this.behind, { method: request.method, path: request.url, headers }, async (answer) => {
      const text = (await read(answer)).toString().replaceAll(`//${this.behind.host}`, `//${new URL(this.url).host}`);
      const kept = { ...answer.headers };
      for (const name of ["content-length", "connection", "transfer-encoding", "content-encoding"]) delete kept[name];
      if (kept.location) kept.location = kept.location.replace(this.behind.host, new URL(this.url).host);
      response.writeHead(answer.statusCode, kept);
      response.end(text);
    });
    onward.on("error", () => response.destroy());
    delete headers["accept-encoding"];
    onward.end(body);
  }
}

async function read(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

async function freePort() {
  const server = net.createServer();
  await new Promise((go) => server.listen(0, "127.0.0.1", go));
  const { port } = server.address();
  await new Promise((go) => server.close(go));
  return port;
}

export class Scene {
  folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-console-"));
  processes = [];

  // A fleet of districts that all go to one connection; by default to one where nobody is.
  constructor({
    fleet = 600, name = (at) => `d${String(at).padStart(3, "0")}`, fleetTarget = "nobody",
    refusal = "The title <b>is</b> too long for this state.", refused = REFUSED,
  } = {}) {
    Object.assign(this, { fleet, name, fleetTarget, refusal, refused });
  }

  static async set() {
    const scene = new Scene();
    try {
      await scene.start();
      return scene;
    } catch (error) {
      await scene.close();
      throw error;
    }
  }

  async start() {
    const [source, target, region] = await Promise.all([this.sandbox(), this.sandbox("--empty"), this.sandbox("--empty")]);
    this.source = source;
    this.gate = new Gate(target, this);
    await this.gate.listen();
    this.url = `http://127.0.0.1:${await freePort()}`;
    this.configure(region);
    await this.atSource("POST", "courses", await this.hostileCourse());
    await this.atSource("POST", "countryDescriptors", descriptor("Atlantis"));
    this.daemon = this.run(["serve", "--config", path.join(this.folder, "tidemark.yaml")]);
    await until("the daemon is ready", async () => (await fetch(`${this.url}/readyz`).catch(() => ({}))).ok);
    this.browser = await chromium.launch({
      executablePath: "/usr/bin/chromium",
      args: [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
      ],
    });
  }

  configure(region) {
    const far = (new Date().getUTCHours() + 12) % 24;
    const credentials = "key: sandbox-key, secret: sandbox-secret";
    const rows = Array.from({ length: this.fleet }, (_, at) => `${this.name(at + 1)},${["north", "south", "east"][at % 3]}`);
    writeFileSync(path.join(this.folder, "districts.csv"), `id,area\n${rows.join("\n")}\n`);
    writeFileSync(path.join(this.folder, "tidemark.yaml"), `
state: {path: ${this.folder}/state, backup: null}
server:
  listen: ${new URL(this.url).host}
  admin_token: an-admin
  tokens:
    - {name: watcher, role: viewer, token: a-viewer}
    - {name: oncall, role: operator, token: an-operator}
    - {name: north, role: operator, labels: {area: north}, token: a-northerner}
connections:
  district: {kind: ed-fi, url: "${this.source}", ${credentials}}
  state: {kind: ed-fi, url: "${this.gate.url}", ${credentials}}
  region: {kind: ed-fi, url: "${region}", ${credentials}}
  nobody: {kind: ed-fi, url: "http://127.0.0.1:9", timeout: 2s, ${credentials}}
defaults:
  publication: {isolation: bounded, first_overlap_versions: 0, overlap: 0s}
publications:
  district-to-state: {source: district, targets: [state], resources: {include: [sections]}}
  coast-to-state: {source: district, targets: [nobody], resources: {include_only: [schools]}}
  valley-to-state: {source: district, targets: [nobody], resources: {include_only: [schools]}}
  district-to-region:
    source: district
    targets: [region]
    max_deletes: 0%
    max_deletes_above: 0
    resources: {include_only: [countryDescriptors]}
templates:
  district:
    for_each: {file: districts.csv}
    publications:
      "\${id}-to-state":
        source: district
        targets: [${this.fleetTarget}]
        labels: {area: "\${area}"}
        schedule: "0 0 ${far} * * *"
        spread: 1h
        resources: {include_only: [countryDescriptors]}
`);
  }

  run(words) {
    const child = spawn(TIDEMARK, words, { env: { PATH: process.env.PATH, HOME: this.folder }, stdio: ["ignore", "pipe", "pipe"] });
    child.said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => { child.said += text; });
    this.processes.push(child);
    return child;
  }

  async sandbox(...more) {
    const child = this.run(["sandbox", "--listen", "127.0.0.1:0", ...more]);
    const found = await until("the sandbox listens", () => child.said.match(/url: +(http:\/\/\S+)/));
    return found[1];
  }

  async token() {
    const form = new URLSearchParams({ grant_type: "client_credentials", client_id: "sandbox-key", client_secret: "sandbox-secret" });
    const answer = await fetch(`${this.source}/oauth/token`, { method: "POST", body: form });
    return (await answer.json()).access_token;
  }

  async atSource(method, resource, body) {
    this.bearer ??= await this.token();
    const headers = { Authorization: `Bearer ${this.bearer}`, "Content-Type": "application/json" };
    const answer = await fetch(`${this.source}/data/v3/ed-fi/${resource}`, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${resource}: ${answer.status} ${await answer.text()}`);
    return answer;
  }

  async hostileCourse() {
    const [course] = await (await this.atSource("GET", "courses?limit=1")).json();
    for (const name of ["id", "_etag", "_lastModifiedDate"]) delete course[name];
    return { ...course, courseCode: HOSTILE, courseTitle: "A course with a name of its own" };
  }

  // As the admin API on loopback, without a token.
  async api(method, address, body) {
    const answer = await fetch(`${this.url}/api/v1/${address}`, {
      method, body: body && JSON.stringify(body), headers: body ? { "Content-Type": "application/json" } : {},
    });
    const text = await answer.text();
    return text ? JSON.parse(text) : null;
  }

  pair(publication, target) {
    return this.api("GET", `pairs/${publication}/${target}`);
  }

  // Runs a pair to its end.
  async publish(publication, target) {
    const before = (await this.pair(publication, target)).last_run?.id;
    await this.api("POST", `publications/${publication}/runs`, {});
    return until(`${publication} was published`, async () => {
      const pair = await this.pair(publication, target);
      return !pair.run_id && pair.last_run && pair.last_run.id !== before && pair;
    });
  }

  async close() {
    await this.browser?.close();
    this.gate?.server.close();
    this.gate?.server.closeAllConnections();
    for (const child of this.processes.reverse()) {
      if (child.exitCode === null) {
        child.kill("SIGTERM");
        await Promise.race([new Promise((go) => child.once("exit", go)), new Promise((go) => setTimeout(go, 10_000))]);
        child.kill("SIGKILL");
      }
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function descriptor(name) {
  return { namespace: "uri://ed-fi.org/CountryDescriptor", codeValue: name, shortDescription: name };
}

// A page that is noticed by what it complains of.
export class Visitor {
  complaints = [];

  static async come(scene, { token, ...options } = {}) {
    const visitor = new Visitor();
    visitor.scene = scene;
    visitor.context = await scene.browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    await visitor.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: scene.url });
    visitor.page = await visitor.context.newPage();
    visitor.page.setDefaultTimeout(15_000);
    visitor.page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) visitor.complaints.push(message.text());
    });
    visitor.page.on("pageerror", (error) => visitor.complaints.push(String(error)));
    if (token) await visitor.logIn(token);
    return visitor;
  }

  async open(address) {
    const answer = await this.page.goto(this.scene.url + address);
    return answer.status();
  }

  async logIn(token) {
    await this.open("/login");
    await this.page.getByLabel("Token").fill(token);
    await this.page.getByRole("button", { name: "Log in" }).click();
    await this.page.getByRole("button", { name: "Log out" }).waitFor();
  }

  // What axe-core calls serious or worse, in words.
  async barriers() {
    await this.page.evaluate(AXE);
    const { violations } = await this.page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    const bad = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    return bad.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`);
  }

  async photograph(name) {
    const folder = process.env.TIDEMARK_SCREENSHOTS;
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    await this.page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
  }

  async leave() {
    await this.context.close();
  }
}
