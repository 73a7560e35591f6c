import type { FuzzTarget } from "./target.js";
import { originsFileTarget, settingsTarget } from "./targets/configuration.js";
import { conditionsTarget, plainRequestTarget, rangeTarget, requestTargetTarget } from "./targets/http.js";
import {
  footerTarget,
  memberListTarget,
  podTarget,
  readRangeRequestTarget,
  readRangeResponseTarget,
} from "./targets/messages.js";
import { objectUrlTarget } from "./targets/object-url.js";

/** Everything that is fuzzed here; the client's reading of answers has its own tests (`client/src/landing`). */
export const targets: readonly FuzzTarget[] = [
  objectUrlTarget,
  requestTargetTarget,
  rangeTarget,
  conditionsTarget,
  plainRequestTarget,
  readRangeRequestTarget,
  readRangeResponseTarget,
  footerTarget,
  memberListTarget,
  podTarget,
  settingsTarget,
  originsFileTarget,
];
