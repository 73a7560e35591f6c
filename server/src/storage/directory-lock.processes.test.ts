import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { claimDirectory } from "./directory-lock.js";
import { loadLibc } from "./mapping/libc.js";

const libc = await loadLibc();

describe.each([
  ["the kernel's lock", libc, libc !== undefined],
  ["a process id", undefined, true],
] as const)("a directory locked by %s", (_name, library, isRunnable) => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "claim-"));
  });

  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it.runIf(isRunnable)("is refused to another process, with a hint at its owner", async () => {
    const claim = await claimDirectory(directory, library);
    const message = new RegExp(`^${directory} is in use by another process \\(${process.pid}.*\\): stop it or choose another`);
    await expect(claimDirectory(directory, library)).rejects.toThrow(message);
    await expect(claimDirectory(directory, library)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await claim.release();
    await (await claimDirectory(directory, library)).release();
  });

  it.runIf(isRunnable)("is unlocked by its owner's death", async () => {
    const holder = spawn(process.execPath, ["-e", "setInterval(() => undefined, 1000)"], { stdio: "ignore" });
    writeFileSync(join(directory, "lock"), `${holder.pid}`);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    await (await claimDirectory(directory, library)).release();
  });

  it.runIf(isRunnable)("is created with its parents, and ignores an invalid lock file", async () => {
    const deep = join(directory, "a", "b");
    await (await claimDirectory(deep, library)).release();
    writeFileSync(join(deep, "lock"), "what is this");
    await (await claimDirectory(deep, library)).release();
  });
});

describe("a lock by process ID", () => {
  it.runIf(process.platform === "linux")("is not held by a later process with the same ID", async () => {
    const directory = mkdtempSync(join(tmpdir(), "claim-"));
    writeFileSync(join(directory, "lock"), `${process.pid} 1`);
    const claim = await claimDirectory(directory, undefined);
    expect(readFileSync(join(directory, "lock"), "utf8")).toMatch(new RegExp(`^${process.pid} \\d{2,}$`));
    await claim.release();
    rmSync(directory, { recursive: true });
  });
});
