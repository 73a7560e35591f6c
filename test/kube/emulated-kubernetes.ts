import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubernetesMembersOptions, MemberSource } from "@frontcache/server/testing";
import { KubeEmulator } from "../emulators/kube.js";
import { FlowingTime } from "./flowing-time.js";
import { membersBy } from "./members-by.js";

/** The Kubernetes emulator with flowing time, and a directory for its kubeconfig. */
export class EmulatedKubernetes {
  private constructor(
    readonly time: FlowingTime,
    readonly api: KubeEmulator,
    /** A temporary directory. */
    readonly directory: string,
  ) {}

  static async open(): Promise<EmulatedKubernetes> {
    // Loading the package takes real time, during which the simulated time must not advance.
    await import("@kubernetes/client-node");
    const time = new FlowingTime();
    const directory = await mkdtemp(join(tmpdir(), "frontcache-kube-"));
    return new EmulatedKubernetes(time, await KubeEmulator.start("cache", time.clock), directory);
  }

  /** Opens the member source of the emulator; `user` replaces the kubeconfig's user. */
  async members({
    user,
    ...options
  }: Partial<KubernetesMembersOptions> & { readonly user?: Record<string, unknown> } = {}): Promise<MemberSource> {
    const kubeconfig = join(this.directory, "kubeconfig");
    await writeFile(kubeconfig, this.api.kubeconfig(user));
    return membersBy(kubeconfig, { clock: this.time.clock, random: () => 0.5, ...options });
  }

  /** Closes the source, and checks that it leaves nothing open. */
  async closeSource(source: MemberSource): Promise<void> {
    await source.close();
    await this.time.until("the source has left its connections", () => this.api.openSockets === 0);
    if (this.time.clock.waits > 0) throw new Error(`the source has left ${this.time.clock.waits} timers`);
  }

  async close(): Promise<void> {
    await this.api.close();
    await rm(this.directory, { recursive: true });
  }
}
