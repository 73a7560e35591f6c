import { answerRequest } from "../http/answer-request.js";
import { parsePlainRequest } from "../http/plain-request.js";
import type { Site } from "../http/site.js";
import type { Cors } from "./cors.js";
import { type Addressing, TargetParser } from "./request-target.js";

/** Serves the objects of all stores by the APIs of S3 and GCS, and the pages of the member. `cors` are shared by all listeners. */
export function objectSite(addressing: Addressing, cors: Cors): Site {
  const targets = new TargetParser(addressing);
  return {
    maxHeadBytes: 16 << 10,
    parsePlain: (bytes) => parsePlainRequest(bytes, addressing.form),
    answer: (context, serving) => answerRequest(context, targets, cors, serving),
  };
}
