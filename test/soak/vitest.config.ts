import { defineConfig } from "vitest/config";
import shared from "../../vitest.config.js";

const { projects: _tiers, ...test } = shared.test!;

/** `npm run soak`: one long run that prints its progress. */
export default defineConfig({ ...shared, test: { ...test, include: ["test/soak/*.soak.ts"], disableConsoleIntercept: true } });
