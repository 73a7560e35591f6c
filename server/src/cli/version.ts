import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";

/** This package's version. */
export function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** `frontcache version`: of this program and of what it runs on. */
export function addVersion(program: Command): void {
  addJsonOption(program.command("version").description("Shows the version of this program and of Node.")).action(
    (flags: JsonFlags) => {
      printFields(
        { frontcache: packageVersion(), node: process.versions.node, platform: `${process.platform} ${process.arch}` },
        flags,
      );
    },
  );
}
