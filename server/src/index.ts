export type { Origin, OriginAnswer, OriginRequest, PassQuestion } from "./origin/origin.js";
