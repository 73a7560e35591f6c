export * from "./backoff.js";
export * from "./bounded-map.js";
export * from "./concurrency.js";
export * from "./linked-list.js";
export * from "./process-lock.js";
export * from "./signals.js";
export * from "./single-flight.js";
export * from "./transient-map.js";
