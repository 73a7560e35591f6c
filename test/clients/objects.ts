import { createHash } from "node:crypto";
import { rampBytes } from "../emulators/s3.js";

/** The bucket that all clients read. */
export const BUCKET = "clients";

const MiB = 1 << 20;

/** The objects that all clients read: an empty one, odd names, one of several blocks. */
export const objects: ReadonlyMap<string, Buffer> = new Map([
  ["empty", Buffer.alloc(0)],
  ["small.txt", Buffer.from("hello clients")],
  ["dir/medium.bin", rampBytes(0, 3 * MiB + 17, 3)],
  ["dir/large.bin", rampBytes(0, 36 * MiB + 1, 5)],
  ["odd/a b+c&d=e'(f)#g%h.txt", Buffer.from("odd")],
  ["data/table.csv", Buffer.from(`a,b\n${Array.from({ length: 1_000 }, (_, at) => `${at},x\n`).join("")}`)],
  ["odd/é 日本.txt", Buffer.from("unicode")],
]);

/** An object as a client reported it. */
export interface ReadObject {
  readonly size: number;
  readonly md5: string;
}

/** What each client must report. */
export const expected: ReadonlyMap<string, ReadObject> = new Map(
  [...objects].map(([key, bytes]) => [key, { size: bytes.length, md5: createHash("md5").update(bytes).digest("hex") }]),
);
