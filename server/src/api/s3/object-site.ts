import type { Values } from "../../values/values.js";
import { answerRequest } from "../http/answer-request.js";
import { parsePlainRequest } from "../http/plain-request.js";
import type { Site } from "../http/site.js";
import { VALUES_PATH } from "../values/value-api.js";
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

/** The interface to values of frontcache's own clients, at a listener that also serves objects. */
export interface ValuesBeside {
  readonly site: Site<Values>;
  /** Undefined while the member starts. */
  readonly served: () => Values | undefined;
}

/** The same, with values at their own paths. */
export function besideValues(objects: Site, { site, served }: ValuesBeside): Site {
  return {
    maxHeadBytes: Math.max(objects.maxHeadBytes, site.maxHeadBytes),
    parsePlain: (bytes) => objects.parsePlain(bytes) ?? site.parsePlain(bytes),
    answer(context, serving) {
      const isValue = context.request.url?.startsWith(VALUES_PATH) === true;
      if (isValue) site.answer(context, () => ({ ...serving(), served: served() }));
      else objects.answer(context, serving);
    },
  };
}
