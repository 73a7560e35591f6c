import type { Command } from "commander";
import { packageVersion } from "../config/package-version.js";
import { addJsonOption, type JsonFlags, printFields } from "./print.js";

/** `frontcache version`: shows the version of this program, of Node and of the platform. */
export function addVersion(program: Command): void {
  addJsonOption(
    program
      .command("version")
      .summary("show the versions of this program and of Node")
      .description("Shows the version of this program and of Node."),
  ).action((flags: JsonFlags) => {
    printFields(
      { frontcache: packageVersion(), node: process.versions.node, platform: `${process.platform} ${process.arch}` },
      flags,
    );
  });
}
