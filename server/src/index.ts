export type { Origin, OriginAnswer, OriginRange } from "./origin/origin.js";
