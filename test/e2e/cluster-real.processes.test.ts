import { describe, expect, it } from "vitest";
import { hostOf, namesOf } from "./addresses.js";
import { Cluster } from "./cluster.js";
import { RealPods } from "./cluster-pods.js";
import { Readers } from "./cluster-readers.js";
import { MAX_STRAYS } from "./origin-fetches.js";
import { readAll } from "./test-objects.js";

const kubeconfig = process.env.FRONTCACHE_TEST_KUBECONFIG;
const suite = kubeconfig
  ? "a cluster with members from a real Kubernetes API"
  : "a cluster with members from a real Kubernetes API (skipped: FRONTCACHE_TEST_KUBECONFIG names no admin kubeconfig)";

describe.skipIf(!kubeconfig)(suite, () => {
  it("fails no read and fetches nothing twice while it scales out, restarts member by member and scales in", async () => {
    await using cluster = await Cluster.start({
      names: namesOf(3),
      processes: ["cache-0"],
      pods: ({ directory }) => RealPods.open(kubeconfig!, directory),
    });
    const objects = cluster.put(2, 20);
    const client = await cluster.client();
    await readAll(client, objects);
    cluster.forget();
    await using readers = new Readers(
      ({ url, version }, { offset, length }) => client.readRange(url, offset, length, version),
      objects,
      {
        readers: 4,
        bytes: 16 << 10,
      },
    );
    await cluster.join({ name: "cache-3", host: hostOf(3) });
    await cluster.agreed();
    for (const name of cluster.names) {
      const host = cluster.hostOf(name);
      expect(await cluster.shutDown(name)).toBe(0);
      // A new pod has a new address.
      await cluster.join({ name, host: host.replace("127.0.0.", "127.0.1.") });
      await cluster.agreed();
    }
    expect(await cluster.shutDown("cache-1")).toBe(0);
    await cluster.agreed();
    const { failed, wrong, reads, slowestMs } = await readers.stop();
    console.info(`a real API: ${reads} reads, the slowest ${slowestMs} ms; ${cluster.fetches.length} GETs`);
    expect({ failed, wrong }).toEqual({ failed: [], wrong: 0 });
    expect(cluster.fetches.length).toBeLessThanOrEqual(MAX_STRAYS + cluster.mostUnneeded);
  });
});
