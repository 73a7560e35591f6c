import { type Benchmark, ratio } from "../answer.js";
import { names, smallReads } from "../hot-reads.js";
import { KiB } from "../stage.js";

export const benchmark: Benchmark = {
  question: "How fast are cached ranges of 64 KiB?",
  run: () =>
    smallReads(64 * KiB, "64 KiB", (one, sixteen) => [
      ...ratio(one, { name: "one at a time: readRange / undici", of: names.ours, to: "undici" }),
      ...ratio(sixteen, { name: "sixteen at a time: readRange / undici", of: names.ours, to: "undici" }),
    ]),
};
