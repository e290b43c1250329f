// The console as people use it. The tests tell one story, in this order: a first load, what waits, who
// may do what, and how it is mended.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { HOSTILE, Scene, Visitor, descriptor, until } from "./scene.js";

let scene;
before(async () => { scene = await Scene.set(); });
after(async () => { await scene?.close(); });

async function visiting(options, work) {
  const visitor = await Visitor.come(scene, options);
  try {
    await work(visitor.page, visitor);
    assert.deepEqual(visitor.complaints, []);
  } catch (error) {
    await visitor.photograph("failed");
    throw error;
  } finally {
    await visitor.leave();
  }
}

const PAIR = "/pairs/district-to-state/state";

test("a page is brought up to date while a run goes on, without loading it again", async () => {
  scene.gate.slow = 15;
  await visiting({}, async (page, visitor) => {
    await visitor.open(PAIR);
    await page.getByText("never run").first().waitFor();
    await page.evaluate(() => { window.wasHere = true; });

    await scene.api("POST", "publications/district-to-state/runs", {});

    await page.getByRole("heading", { name: "Under way" }).waitFor();
    const settled = async () => Number((await page.locator("#run p b").first().textContent()).replaceAll(",", ""));
    const first = await settled();
    await until("more is settled", async () => (await settled()) > first);
    await page.locator("#pause summary").focus();
    await visitor.photograph("pair-running");
    scene.gate.slow = 0;
    await page.locator("h1 .badge", { hasText: "degraded" }).waitFor({ timeout: 60_000 });
    assert.equal(await page.evaluate(() => window.wasHere), true, "the page was loaded again");
    assert.equal(await page.evaluate(() => document.activeElement.textContent.slice(0, 20)), "Pause…", "the focus was lost");
  });
});

test("what was refused stands above what waits for it, and no text of it is markup", async () => {
  await visiting({}, async (page, visitor) => {
    await visitor.open("/parked");

    const root = page.locator("tr.root", { hasText: "ALG-1" });
    await root.getByText("at $.courseTitle").waitFor();
    await page.getByText("8 items wait for it: 2 /ed-fi/courseOfferings, 6 /ed-fi/sections").click();
    assert.equal(await page.locator("tr.behind li:visible").count(), 8);
    assert.ok((await page.getByText(HOSTILE).count()) > 0);
    assert.equal(await page.locator("main img, main b b, .why b:has-text('is')").count(), 0);
    await visitor.photograph("parked");
  });
});

test("what waits can be downloaded for whoever mends it", async () => {
  await visiting({}, async (page, visitor) => {
    await visitor.open("/parked?resource=courses");
    const waiting = page.waitForEvent("download");
    await page.getByRole("link", { name: "Download as CSV" }).click();
    const download = await waiting;

    const lines = [];
    for await (const part of await download.createReadStream()) lines.push(part.toString());
    const [head, ...rows] = lines.join("").trim().split("\r\n");
    assert.equal(download.suggestedFilename(), "parked.csv");
    assert.match(head, /^id,publication,target,resource,key,.*what_to_do$/);
    assert.equal(rows.length, 2);
  });
});

test("a token becomes a cookie that says nothing of it, and a viewer sees no key and can do nothing", async () => {
  await visiting({ token: "a-viewer" }, async (page, visitor) => {
    const [cookie, ...others] = await visitor.context.cookies();
    assert.deepEqual(others, []);
    assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, "Strict", "/"]);
    assert.ok(cookie.value.length >= 43 && !cookie.value.includes("viewer"));
    await page.getByText("watcher · viewer").waitFor();

    for (const address of ["/parked", PAIR]) {
      await visitor.open(address);
      assert.equal(await page.getByText("ALG-1").count(), 0);
      assert.deepEqual(await page.getByRole("button").allTextContents().then((all) => all.filter((text) => !["Log out", "Filter", "Copy"].includes(text))), []);
    }
    const csrf = await page.locator("input[name=csrf]").first().inputValue();
    const status = (address, form) => page.evaluate(async ([address, form]) => (await fetch(address, { method: "POST", body: new URLSearchParams(form), redirect: "manual" })).status, [address, form]);
    assert.equal(await status(`${PAIR}/run`, { csrf }), 403);
    assert.equal(await status("/parked/discard", { csrf, which: "all", because: "no" }), 403);
    visitor.complaints = []; // The browser names what was refused.
  });
});

test("a form that is not of this session does nothing, and who leaves is gone", async () => {
  await visiting({ token: "an-operator" }, async (page, visitor) => {
    await visitor.open(PAIR);
    const runs = (await scene.api("GET", "runs?publication=district-to-state")).items.length;
    const status = (form) => page.evaluate(async ([address, form]) => (await fetch(address, { method: "POST", body: new URLSearchParams(form), redirect: "manual" })).status, [`${PAIR}/run`, form]);
    assert.equal(await status({}), 403);
    assert.equal(await status({ csrf: "x".repeat(43) }), 403);
    assert.equal((await scene.api("GET", "runs?publication=district-to-state")).items.length, runs);
    visitor.complaints = [];

    const [before] = await visitor.context.cookies();
    await page.getByRole("button", { name: "Log out" }).click();
    await page.getByRole("heading", { name: "Log in" }).waitFor();
    assert.deepEqual(await visitor.context.cookies(), []);
    await visitor.context.addCookies([before]);
    await visitor.open("/");
    await page.getByText("loopback").waitFor();
  });
});

test("with the keyboard alone: from the fleet to a pair, to what waits there, and it is tried again", async () => {
  scene.gate.refusing = false;
  await visiting({ token: "an-operator" }, async (page, visitor) => {
    await visitor.open("/?text=district-to-state");
    const press = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
    const reach = async (what) => {
      for (let step = 0; step < 80; step++) {
        await page.keyboard.press("Tab");
        if (await page.evaluate((what) => document.activeElement.textContent.trim().startsWith(what), what)) return;
      }
      throw new Error(`no way to ${what}`);
    };

    await press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
    await press("Enter");
    await reach("district-to-state");
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none");
    await press("Enter");
    await page.getByRole("heading", { level: 1, name: "district-to-state" }).waitFor();
    await reach("Look at what waits");
    await press("Enter");
    await page.getByRole("heading", { name: "Parked and dead items" }).waitFor();
    await reach("Retry all 10 that match");
    await press("Enter");

    await page.getByText("10 items due now; the next run tries them.").waitFor();
    await until("nothing waits any more", async () => (await scene.pair("district-to-state", "state")).parked === 0);
  });
});

test("what is refused again is given up with a reason, which the audit keeps", async () => {
  scene.gate.refusing = true;
  await scene.atSource("POST", "courses", { ...(await scene.hostileCourse()), maximumAvailableCredits: 3 });
  const pair = await scene.publish("district-to-state", "state");
  assert.equal(pair.parked, 1);
  await visiting({ token: "an-admin" }, async (page, visitor) => {
    await visitor.open("/parked?publication=district-to-state");
    await page.getByRole("checkbox").first().check();
    await page.getByText("Give up…").click();
    await page.getByLabel("Reason, for whoever asks later").fill("a <b>test</b> course");
    await page.getByRole("button", { name: "Give up the chosen" }).click();

    await page.getByText("1 item given up. The watermark stays where it is.").waitFor();
    await page.getByText("Nothing that fits is parked.").waitFor();
    await visitor.open("/audit");
    const line = page.getByRole("row", { name: "parked discard" });
    await line.getByText("a <b>test</b> course").waitFor();
    assert.ok((await line.textContent()).includes("token admin"));
  });
});

test("a blocked pair says why, and goes on once a person has approved", async () => {
  await scene.publish("district-to-region", "region");
  const [found] = await (await scene.atSource("GET", "countryDescriptors?codeValue=Atlantis")).json();
  await scene.atSource("DELETE", `countryDescriptors/${found.id}`);
  await scene.publish("district-to-region", "region");
  await visiting({ token: "an-admin" }, async (page, visitor) => {
    await visitor.open("/?state=blocked");
    await page.getByRole("link", { name: "district-to-region" }).first().click();
    await page.locator("h1 .badge", { hasText: "blocked" }).waitFor();
    await visitor.photograph("blocked");
    await page.getByLabel("Reason, for whoever asks later").fill("Atlantis has sunk");
    await page.getByRole("button", { name: "Approve 1 delete" }).click();
    await page.getByText("Approved: the pair goes on at its next run.").waitFor();

    await page.getByRole("button", { name: "Run now" }).click();

    await page.getByRole("heading", { name: /^Run / }).waitFor();
    await page.locator("h1 .badge", { hasText: "complete" }).waitFor();
    assert.equal((await scene.pair("district-to-region", "region")).state, "ok");
  });
});

test("a watermark is moved only by who types the name, and after seeing what would be gone", async () => {
  await visiting({ token: "an-admin" }, async (page, visitor) => {
    const { watermark } = await scene.pair("district-to-state", "state");
    await visitor.open(PAIR);
    await page.getByRole("link", { name: "Move the watermark" }).click();
    await page.getByRole("heading", { name: "What would be gone" }).waitFor();
    const move = async (name) => {
      await page.getByLabel("to a version").check();
      await page.getByLabel("Version", { exact: true }).fill(String(watermark - 1));
      await page.getByLabel("Reason, for whoever asks later").fill("a test");
      await page.getByLabel("To confirm").fill(name);
      await page.getByRole("button", { name: "Move the watermark" }).click();
    };

    await move("district-to-region");
    await page.getByText("The name that was typed is not that of the publication").waitFor();
    assert.equal((await scene.pair("district-to-state", "state")).watermark, watermark);
    visitor.complaints = [];
    await page.goBack();
    await move("district-to-state");

    await page.getByText("The watermark was moved.").waitFor();
    assert.equal((await scene.pair("district-to-state", "state")).watermark, watermark - 1);
  });
  await scene.publish("district-to-state", "state");
});

test("six hundred pairs are loaded, filtered and paged", async () => {
  await visiting({ token: "an-operator" }, async (page, visitor) => {
    const began = Date.now();
    await visitor.open("/");
    await page.getByText("1–50 of 604").waitFor();
    assert.ok(Date.now() - began < 15_000);
    assert.equal(await page.locator("#pairs tbody tr").count(), 50);
    await visitor.photograph("fleet");
    assert.equal(await page.getByRole("list", { name: "What several pairs have in common" }).count(), 0);
    await Promise.all(["coast", "valley"].map((name) => scene.publish(`${name}-to-state`, "nobody")));
    await page.getByText(/^2 pairs failing: The target could not be written/).waitFor();

    await page.getByLabel("Label").fill("area=south");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByText("1–50 of 200").waitFor();
    await page.getByRole("link", { name: "Next" }).click();
    await page.getByText("51–100 of 200").waitFor();
    assert.match(page.url(), /label=area%3Dsouth/);
    await page.getByRole("searchbox", { name: "Name" }).fill("d599");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByText("1 pair", { exact: true }).waitFor();
    await page.getByLabel("Connection").fill("nowhere");
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByRole("alert").waitFor();
  });
});

test("whoever follows a link from another site to a view is led to it with their session", async () => {
  await visiting({ token: "an-operator" }, async (page, visitor) => {
    await page.route("http://elsewhere.test/", (route) => route.fulfill({ contentType: "text/html", body: `<a href="${scene.url}/runs?publication=d0*">look</a>` }));
    await page.goto("http://elsewhere.test/");
    await page.getByText("look").click();

    await page.getByRole("heading", { name: "Runs" }).waitFor();
    await page.getByText("oncall · operator").waitFor();
    assert.match(page.url(), /runs\?publication=d0\*$/);
  });
});

test("a token with labels sees its pairs and no others", async () => {
  await visiting({ token: "a-northerner" }, async (page, visitor) => {
    await visitor.open("/");
    await page.getByText("1–50 of 200").waitFor();
    assert.equal(await visitor.open(PAIR), 404);
    assert.equal(await visitor.open("/configuration?name=d001-to-state"), 200);
    assert.equal(await visitor.open("/configuration?name=d002-to-state"), 404);
    visitor.complaints = [];
  });
});

const VIEWS = ["/", PAIR, `${PAIR}/report`, `${PAIR}/watermark`, "/parked", "/runs", "/audit", "/configuration?name=district", "/login", "RUN", "ITEM"];

for (const [scheme, width] of [["light", 1280], ["dark", 1280], ["light", 375]]) {
  test(`every view loads without complaint or barrier, ${scheme} and ${width} wide`, async () => {
    scene.gate.refusing = true;
    if (scheme === "light" && width === 1280) {
      await scene.atSource("POST", "courses", { ...(await scene.hostileCourse()), maximumAvailableCredits: 4 });
      await scene.publish("district-to-state", "state");
    }
    const [run] = (await scene.api("GET", "runs?publication=district-to-state")).items.slice(-1);
    const [item] = (await scene.api("GET", "parked")).items;
    const places = { RUN: `${PAIR}/runs/${run.id}`, ITEM: `/parked/${item.id}` };
    await visiting({ colorScheme: scheme, viewport: { width, height: 900 } }, async (page, visitor) => {
      for (const view of VIEWS) {
        const status = await visitor.open(places[view] ?? view);
        await page.locator("main h1").waitFor({ state: "attached" });

        assert.equal(status, 200, view);
        assert.deepEqual(await visitor.barriers(), [], view);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(overflow <= 0, `${view} is ${overflow} wider than the window`);
        await visitor.photograph(`${scheme}-${width}-${view.replaceAll(/[^a-zA-Z]+/g, "-")}`);
      }
    });
  });
}
