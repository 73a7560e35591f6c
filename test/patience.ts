import { vi } from "vitest";

/** What is waited for comes at once, or on a shared machine that stalls for seconds a little later; a second is too short there. */
const PATIENCE_MS = 10_000;

const { waitFor } = vi;
vi.waitFor = (callback, options) =>
  waitFor(callback, typeof options === "number" ? options : { timeout: PATIENCE_MS, ...options });
