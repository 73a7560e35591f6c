// Exports for tests outside this package, in addition to its published interface. Never published.

// Fakes and fixtures.
export { eventually, settled, until } from "./eventually.js";
export { ManualClock } from "./manual-clock.js";
