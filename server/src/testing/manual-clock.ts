export { ManualClock } from "@frontcache/proto/testing";
