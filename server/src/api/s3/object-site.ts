import { parsePlainRequest } from "../http/plain-request.js";
import type { Site } from "../http/site.js";
import { answerRequest } from "./answer-request.js";
import type { Cors } from "./cors.js";
import { type Addressing, TargetParser } from "./request-target.js";

const MAX_HEAD_BYTES = 16 << 10;

/** Serves the objects of all stores by the APIs of S3 and GCS, and the pages of the member. `cors` are shared by all listeners. */
export function objectSite(addressing: Addressing, cors: Cors): Site {
  const targets = new TargetParser(addressing);
  return {
    maxHeadBytes: MAX_HEAD_BYTES,
    parsePlain: (bytes) => parsePlainRequest(bytes, addressing.form),
    answer: (context, serving) => answerRequest(context, targets, cors, serving),
  };
}

/** Another interface at a listener that also serves objects. */
export interface SiteBeside<Served> {
  /** Begins its paths. */
  readonly prefix: string;
  readonly site: Site<Served>;
  /** Undefined while the member starts. */
  readonly served: () => Served | undefined;
}

/** The same, with another interface at its own paths. */
export function beside<Served>(objects: Site, { prefix, site, served }: SiteBeside<Served>): Site {
  return {
    maxHeadBytes: Math.max(objects.maxHeadBytes, site.maxHeadBytes),
    parsePlain: (bytes) => objects.parsePlain(bytes) ?? site.parsePlain(bytes),
    answer(context, serving) {
      const isBeside = context.request.url?.startsWith(prefix) === true;
      if (isBeside) site.answer(context, () => ({ ...serving(), served: served() }));
      else objects.answer(context, serving);
    },
  };
}
