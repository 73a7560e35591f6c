import { type Benchmark, ratio } from "../answer.js";
import { names, smallReads } from "../hot-reads.js";
import { KiB } from "../stage.js";

export const benchmark: Benchmark = {
  question: "How fast are cached ranges of 4 KiB?",
  run: () =>
    smallReads(4 * KiB, "4 KiB", (one, sixteen) => [
      ...ratio(one, { name: "one at a time: readRange / undici", of: names.ours, to: "undici", atLeast: 1.6 }),
      ...ratio(one, { name: "one at a time: readRange / nginx, same client", of: names.ours, to: names.nginx, atLeast: 1 }),
      ...ratio(sixteen, { name: "sixteen at a time: readRange / undici", of: names.ours, to: "undici", atLeast: 2 }),
    ]),
};
