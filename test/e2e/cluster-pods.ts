import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KubeEmulator } from "../emulators/kube.js";
import { RealCluster } from "../kube/real-cluster.js";

/** A member's place: its name and address. */
export interface Place {
  readonly name: string;
  readonly host: string;
}

/** Discovery of the members of a cluster, and the pod status that a kubelet would report. */
export interface Pods {
  /** Whether member lists follow changes. Static lists agree immediately. */
  readonly follow: boolean;
  /** The flags of `serve` for discovery. */
  flagsOf(name: string): readonly string[];
  /** The pod exists and is not ready. */
  created(place: Place): Promise<void>;
  ready(name: string): Promise<void>;
  unready(name: string): Promise<void>;
  /** The pod's deletion began. */
  terminating(name: string): Promise<void>;
  removed(name: string): Promise<void>;
  close(): Promise<void>;
}

/** Static member lists: all members, or the list that `listOf` returns for a member. */
export function staticPods(places: readonly Place[], port: number, listOf = (_name: string) => places, withHttp = false): Pods {
  const ports = withHttp ? `${port}/${port + 1}` : String(port);
  const flag = (list: readonly Place[]): string => list.map(({ name, host }) => `${name}=${host}:${ports}`).join(",");
  const nothing = async (): Promise<void> => {};
  return {
    follow: false,
    flagsOf: (name) => ["--discovery", "static", "--members", flag(listOf(name))],
    created: nothing,
    ready: nothing,
    unready: nothing,
    terminating: nothing,
    removed: nothing,
    close: nothing,
  };
}

/** Pods of the Kubernetes emulator. */
export class EmulatedPods implements Pods {
  readonly api: KubeEmulator;
  readonly #kubeconfig: string;

  readonly follow = true;

  private constructor(api: KubeEmulator, kubeconfig: string) {
    this.api = api;
    this.#kubeconfig = kubeconfig;
  }

  static async start(directory: string): Promise<EmulatedPods> {
    const api = await KubeEmulator.start();
    const kubeconfig = join(directory, "kubeconfig");
    await writeFile(kubeconfig, api.kubeconfig());
    return new EmulatedPods(api, kubeconfig);
  }

  flagsOf(): readonly string[] {
    return ["--discovery", "kubernetes", "--kubeconfig", this.#kubeconfig];
  }

  async created({ name, host }: Place): Promise<void> {
    this.api.pods.set(name, { ready: false, ip: host });
  }

  async ready(name: string): Promise<void> {
    this.api.pods.set(name, { ready: true });
  }

  async unready(name: string): Promise<void> {
    this.api.pods.set(name, { ready: false });
  }

  async terminating(name: string): Promise<void> {
    this.api.pods.startDeleting(name);
  }

  async removed(name: string): Promise<void> {
    this.api.pods.remove(name);
  }

  async close(): Promise<void> {
    await this.api.close();
  }
}

/** Pods in a namespace of a real cluster. The test reports their status instead of a kubelet. */
export class RealPods implements Pods {
  readonly cluster: RealCluster;
  readonly #kubeconfig: string;

  readonly follow = true;

  private constructor(cluster: RealCluster, kubeconfig: string) {
    this.cluster = cluster;
    this.#kubeconfig = kubeconfig;
  }

  /** `admin` is the path of an admin kubeconfig. The members get the token of their service account. */
  static async open(admin: string, directory: string): Promise<RealPods> {
    const cluster = await RealCluster.open(admin);
    const kubeconfig = join(directory, "kubeconfig");
    await cluster.writeMemberKubeconfig(kubeconfig);
    return new RealPods(cluster, kubeconfig);
  }

  flagsOf(): readonly string[] {
    return ["--discovery", "kubernetes", "--kubeconfig", this.#kubeconfig];
  }

  created({ name, host }: Place): Promise<void> {
    return this.cluster.createPod(name, { ready: false, ip: host });
  }

  ready(name: string): Promise<void> {
    return this.cluster.setStatus(name, { ready: true });
  }

  unready(name: string): Promise<void> {
    return this.cluster.setStatus(name, { ready: false });
  }

  terminating(name: string): Promise<void> {
    return this.cluster.deletePod(name);
  }

  removed(name: string): Promise<void> {
    return this.cluster.endPod(name);
  }

  close(): Promise<void> {
    return this.cluster.release();
  }
}
