// What tests outside this package may use of it beside what it publishes. Never published.

// Fakes and fixtures.
export { eventually, settled, until } from "./eventually.js";
