import type { FuzzTarget } from "./target.js";
import { originsFileTarget, settingsTarget } from "./targets/configuration.js";
import { conditionsTarget, plainRequestTarget, rangeTarget, requestTargetTarget } from "./targets/http.js";
import { httpResponseTarget } from "./targets/http-response.js";
import {
  footerTarget,
  memberListTarget,
  podTarget,
  readRangeRequestTarget,
  readRangeResponseTarget,
} from "./targets/messages.js";
import { objectUrlTarget } from "./targets/object-url.js";

/** All fuzzed parsers. What members require of each other's responses besides has its own tests in `client/src/members/http`. */
export const targets: readonly FuzzTarget[] = [
  objectUrlTarget,
  requestTargetTarget,
  rangeTarget,
  conditionsTarget,
  plainRequestTarget,
  httpResponseTarget,
  readRangeRequestTarget,
  readRangeResponseTarget,
  footerTarget,
  memberListTarget,
  podTarget,
  settingsTarget,
  originsFileTarget,
];
