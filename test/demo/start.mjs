// `npm run demo`: works on a fresh clone.
import { prepare } from "../prepare.mjs";

prepare();
const { demo } = await import("./demo.mjs");
await demo({ keep: process.argv.includes("--keep") });
