// Takes the pictures of the README: node tests/console/pictures.js docs/images
// A fleet of districts in one morning: most in step, some not.
import { mkdirSync } from "node:fs";
import path from "node:path";

import { Scene, Visitor, descriptor, until } from "./scene.js";

const folder = path.resolve(process.argv[2] ?? "docs/images");
mkdirSync(folder, { recursive: true });
const scene = new Scene({ fleet: 60, name: (at) => `district-${String(at).padStart(3, "0")}`, fleetTarget: "region", refusal: "The title is longer than the state allows.", refused: ["ALG-1", "ART-1"] });
try {
  await scene.start();
  await scene.publish("district-to-state", "state");
  await scene.publish("district-to-region", "region");
  const [found] = await (await scene.atSource("GET", "countryDescriptors?codeValue=Atlantis")).json();
  await scene.atSource("DELETE", `countryDescriptors/${found.id}`);
  await scene.publish("district-to-region", "region");
  for (let at = 1; at <= 57; at++) await scene.api("POST", `publications/district-${String(at).padStart(3, "0")}-to-state/runs`, {});
  await scene.api("POST", "publications/coast-to-state/runs", {});
  await scene.api("POST", "publications/valley-to-state/runs", {});
  for (const at of ["012", "031"]) {
    await scene.api("POST", `pairs/district-${at}-to-state/region/pause`, { reason: "moves to another host today" });
  }
  const isDone = ({ pairs }) => pairs.every((pair) => !pair.run_id) && pairs.filter((pair) => pair.last_run).length >= 61;
  await until("all have run", async () => isDone(await scene.api("GET", "pairs")), 120_000);
  await scene.atSource("POST", "countryDescriptors", descriptor("Lemuria"));

  const visitor = await Visitor.come(scene, { viewport: { width: 1240, height: 820 } });
  for (const [name, address] of [["fleet", "/"], ["pair", "/pairs/district-to-state/state"], ["parked", "/parked"]]) {
    await visitor.open(address);
    if (name === "parked") await visitor.page.locator("tr.behind summary").first().click();
    await visitor.page.waitForTimeout(500);
    await visitor.page.screenshot({ path: path.join(folder, `${name}.png`) });
  }
} finally {
  await scene.close();
}
