// Takes one picture: node tests/console/picture.js ADDRESS FILE
// Used by the walkthrough of docs/operations.md; waits until the page has nothing more to fetch.
import path from "node:path";
import { createRequire } from "node:module";

import { ROOT } from "./scene.js";

const require = createRequire(path.join(ROOT, "target/console/tests.js"));
const { chromium } = require("playwright-core");

const [address, file] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
try {
  const page = await browser.newPage({ viewport: { width: 1240, height: 820 } });
  await page.goto(address, { waitUntil: "load" });
  await page.waitForTimeout(1500);
  await page.screenshot({ path: file });
} finally {
  await browser.close();
}
