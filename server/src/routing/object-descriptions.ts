import type { AnswerHead } from "@frontcache/client/members";
import { isSameInfo, type ObjectInfo } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";

/** Objects whose description is remembered: headers are made once for each of them, not for each read. */
const REMEMBERED_OBJECTS = 1_000;

/** An object as other members describe it. */
interface Described {
  readonly info: ObjectInfo;
  /** Of the answer that described it last. */
  readonly objectLines: string | undefined;
}

/** The objects that other members described last. */
export class ObjectDescriptions {
  readonly #described = new BoundedMap<string, Described>(REMEMBERED_OBJECTS);

  /** Returns the description of an object, the same one for equal answers. */
  of(url: string, head: AnswerHead): ObjectInfo {
    const known = this.#described.peek(url);
    const { version, objectSize, objectLines } = head;
    const isAlike = known?.info.version === version && known.info.objectSize === objectSize;
    if (isAlike && objectLines !== undefined && known.objectLines === objectLines) return known.info;
    const found = infoOf(head);
    const info = isAlike && isSameInfo(known.info, found) ? known.info : found;
    this.#described.set(url, { info, objectLines });
    return info;
  }
}

function infoOf({ version, objectSize, contentType, lastModifiedMs, headers, lacks = "checksums" }: AnswerHead): ObjectInfo {
  return {
    version,
    objectSize,
    ...(contentType !== undefined && { contentType }),
    ...(lastModifiedMs !== undefined && { lastModifiedMs }),
    ...(headers !== undefined && { headers }),
    lacks,
  };
}
