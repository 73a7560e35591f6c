import type { ObjectInfo } from "@frontcache/proto";
import type { ObjectRead } from "../cache/object-read.js";

/** The read of an object without bytes. */
export function emptyRead(info: ObjectInfo): ObjectRead {
  return { info, offset: 0, length: 0, result: "hit", next: () => undefined, close() {} };
}
