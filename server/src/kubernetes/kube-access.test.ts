import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { Agent, RequestOptions } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inKubernetes, openKubeAccess, podAccess } from "./kube-access.js";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "frontcache-pod-"));
  await write({ token: "first\n", "ca.crt": "an authority", namespace: "caches\n" });
});

afterEach(() => rm(directory, { recursive: true }));

async function write(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
}

const environment = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "6443" };

describe("a pod's access to the Kubernetes API", () => {
  it("takes the address from the environment and the namespace from a file", async () => {
    expect(await podAccess(environment, directory)).toMatchObject({ server: "https://10.0.0.1:6443", namespace: "caches" });
    const ipv6 = { KUBERNETES_SERVICE_HOST: "fd00::1" };
    expect(await podAccess(ipv6, directory)).toMatchObject({ server: "https://[fd00::1]:443" });
    await rm(join(directory, "namespace"));
    expect(await podAccess(environment, directory)).toMatchObject({ namespace: "default" });
  });

  it("reads the token and the authority for each request, because Kubernetes replaces them", async () => {
    const access = await podAccess(environment, directory);
    const first: RequestOptions = { headers: { accept: "application/json" } };
    await access.authorize(first);
    expect(first.headers).toEqual({ accept: "application/json", authorization: "Bearer first" });
    expect((first.agent as Agent).options).toMatchObject({ ca: "an authority" });
    await write({ token: "second", "ca.crt": "another" });
    const second: RequestOptions = {};
    await access.authorize(second);
    expect(second.headers).toEqual({ authorization: "Bearer second" });
    expect((second.agent as Agent).options).toMatchObject({ ca: "another" });
  });

  it("is refused outside Kubernetes", async () => {
    expect(inKubernetes(environment, directory)).toBe(true);
    expect(inKubernetes({}, directory)).toBe(false);
    await rm(join(directory, "token"));
    expect(inKubernetes(environment, directory)).toBe(false);
    await expect(podAccess(environment, directory)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("a kubeconfig's access to the Kubernetes API", () => {
  it.each([
    ["which is missing", undefined, "cannot be read as a kubeconfig file"],
    ["without a current context", "apiVersion: v1\nkind: Config\n", "names no current context with a cluster"],
  ])("is refused for a file %s", async (_what, text, message) => {
    const path = join(directory, "kubeconfig");
    if (text !== undefined) await writeFile(path, text);
    await expect(openKubeAccess(path)).rejects.toThrow(message);
  });
});
