import { defineConfig, mergeConfig } from "vitest/config";
import shared from "../../vitest.config.js";

/** `npm run soak`: one long run, which prints what happens. */
export default defineConfig(
  mergeConfig(
    { ...shared, test: { ...shared.test, include: [] } },
    { test: { include: ["test/soak/*.soak.ts"], disableConsoleIntercept: true, retry: 0 } },
  ),
);
