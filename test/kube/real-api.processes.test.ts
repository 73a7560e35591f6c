import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kubernetesTimes, type MemberSource, systemClock } from "@frontcache/server/testing";
import { CoreV1Api, KubeConfig } from "@kubernetes/client-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { membersBy } from "./members-by.js";
import { RealCluster } from "./real-cluster.js";

const kubeconfig = process.env.FRONTCACHE_TEST_KUBECONFIG;
const suite = kubeconfig
  ? "members by a real Kubernetes API"
  : "members by a real Kubernetes API (skipped: FRONTCACHE_TEST_KUBECONFIG names no admin kubeconfig)";

const GRACE_MS = 1000;
const WATCH_MS = 1000;

describe.skipIf(!kubeconfig)(suite, () => {
  let directory: string;
  let cluster: RealCluster;
  let memberKubeconfig: string;
  let source: MemberSource;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "frontcache-kube-"));
    memberKubeconfig = join(directory, "kubeconfig");
    cluster = await RealCluster.open(kubeconfig!);
    await cluster.writeMemberKubeconfig(memberKubeconfig);
    source = membersBy(memberKubeconfig, {
      unreadyGraceMs: GRACE_MS,
      // Short watches, so that many end and begin during the test. On a busy machine they may end late.
      times: { ...kubernetesTimes, watchMs: WATCH_MS, watchSlackMs: 60_000 },
      clock: systemClock,
      random: Math.random,
    });
  });

  afterAll(async () => {
    await source?.close();
    await cluster?.release();
    await rm(directory, { recursive: true });
  });

  const names = (): string[] | undefined => source.current()?.members.map((member) => member.name);

  /** Repeats a check, because the API's delays vary. The list must be correct within 10 s. */
  const untilMembers = (...expected: string[]): Promise<void> =>
    expect.poll(names, { timeout: 90_000, interval: 20 }).toEqual(expected) as unknown as Promise<void>;

  it("begin with an empty list, with a token whose Role allows only reading pods", async () => {
    await untilMembers();
    const config = new KubeConfig();
    config.loadFromFile(memberKubeconfig);
    const member = config.makeApiClient(CoreV1Api);
    const { namespace } = cluster;
    await expect(member.listNamespacedPod({ namespace })).resolves.toMatchObject({ items: [] });
    await expect(member.listNamespacedPod({ namespace: "kube-system" })).rejects.toMatchObject({ code: 403 });
    await expect(member.listNamespacedSecret({ namespace })).rejects.toMatchObject({ code: 403 });
    await expect(member.deleteCollectionNamespacedPod({ namespace })).rejects.toMatchObject({ code: 403 });
  });

  it("follow their pods", async () => {
    await cluster.createPod("frontcache-0", { ready: true, ip: "10.1.0.10" });
    await cluster.createPod("frontcache-1", { ready: false, ip: "10.1.0.11" });
    await cluster.createPod("frontcache-2", { ready: true });
    await untilMembers("frontcache-0");
    await cluster.setStatus("frontcache-1", { ready: true });
    await cluster.setStatus("frontcache-2", { ready: true, ip: "10.1.0.12" });
    await untilMembers("frontcache-0", "frontcache-1", "frontcache-2");
    expect(source.current()?.member("frontcache-2")?.grpcAddress).toBe("10.1.0.12:8080");
    await cluster.deletePod("frontcache-1");
    await untilMembers("frontcache-0", "frontcache-2");
    await cluster.endPod("frontcache-1");
    await cluster.createPod("frontcache-1", { ready: true, ip: "10.1.9.9" });
    await untilMembers("frontcache-0", "frontcache-1", "frontcache-2");
    expect(source.current()?.member("frontcache-1")?.grpcAddress).toBe("10.1.9.9:8080");
  });

  it("are removed when they stay not ready", async () => {
    await cluster.setStatus("frontcache-2", { ready: false });
    await untilMembers("frontcache-0", "frontcache-1");
  });

  it("are followed by consecutive watches without a failure", async () => {
    const lists: unknown[] = [];
    const end = source.subscribe((membership) => lists.push(membership));
    for (let round = 0; round < 3; round++) {
      const began = performance.now();
      // Longer than the longest watch, so that each round is reported by another watch.
      await expect.poll(() => performance.now() - began, { timeout: 90_000, interval: 50 }).toBeGreaterThan(2 * WATCH_MS);
      await cluster.setStatus("frontcache-2", { ready: round % 2 === 0 });
      await untilMembers("frontcache-0", "frontcache-1", ...(round % 2 === 0 ? ["frontcache-2"] : []));
    }
    end();
    // The first one is the previous list.
    expect(lists.length).toBe(1 + 3);
    // A source that fails for a reason of its own fails with each watch.
    expect(source.report().failures).toBeLessThanOrEqual(1);
  });
});
