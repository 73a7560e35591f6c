export type { Origin, OriginAnswer, OriginRequest } from "./origin/origin.js";
