import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  CoreV1Api,
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  type User,
  type V1ClusterRoleBinding,
  type V1Pod,
} from "@kubernetes/client-node";
import { parseAllDocuments } from "yaml";

const rbacManifest = join(import.meta.dirname, "..", "..", "deploy", "base", "rbac.yaml");

/** A scheduler that does not exist, so that a cluster with nodes leaves the pods and their status to the test. */
const SCHEDULER = "frontcache-tests";
/** A finalizer that keeps a deleted pod terminating, like a container that is still stopping. */
const FINALIZER = "frontcache.tests/hold";

export interface RealPodWish {
  readonly ready: boolean;
  readonly ip?: string;
}

/** A namespace in a real cluster, with the service account and Role of `deploy/base`. */
export class RealCluster {
  readonly namespace = `frontcache-tests-${randomBytes(4).toString("hex")}`;
  readonly #config: KubeConfig;
  readonly #core: CoreV1Api;
  readonly #objects: KubernetesObjectApi;
  /** Objects outside the namespace. */
  readonly #created: KubernetesObject[] = [];

  private constructor(config: KubeConfig) {
    this.#config = config;
    this.#core = config.makeApiClient(CoreV1Api);
    this.#objects = KubernetesObjectApi.makeApiClient(config);
  }

  /** `kubeconfig` is the path of an admin kubeconfig. */
  static async open(kubeconfig: string): Promise<RealCluster> {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    const cluster = new RealCluster(config);
    await cluster.#core.createNamespace({ body: { metadata: { name: cluster.namespace } } });
    for (const document of parseAllDocuments(await readFile(rbacManifest, "utf8"))) {
      const object = document.toJS() as { metadata: { namespace?: string } };
      await cluster.#objects.create({ ...object, metadata: { ...object.metadata, namespace: cluster.namespace } });
    }
    return cluster;
  }

  /** Writes a kubeconfig with a token of the members' service account. */
  async writeMemberKubeconfig(path: string): Promise<void> {
    await this.#writeKubeconfig(path, { token: await this.tokenOf("frontcache", []) });
  }

  /**
   * Writes a kubeconfig of a user who may review tokens, but may not read the cluster's signing keys, as the ServiceAccounts of a cluster
   * without the default role bindings.
   */
  async writeReviewerKubeconfig(path: string): Promise<void> {
    const user = `reviewer-of-${this.namespace}`;
    const binding: V1ClusterRoleBinding = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: user },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "system:auth-delegator" },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }],
    };
    await this.#create(binding);
    await this.#writeKubeconfig(path, { ...this.#config.getCurrentUser()!, impersonateUser: user });
  }

  /** Creates a service account. */
  async createServiceAccount(name: string): Promise<void> {
    await this.#core.createNamespacedServiceAccount({ namespace: this.namespace, body: { metadata: { name } } });
  }

  /** Returns a token of a service account, as a kubelet requests it for a pod: bound to the pod, if one is named. */
  async tokenOf(name: string, audiences: string[], pod?: string): Promise<string> {
    const { namespace } = this;
    const uid = pod && (await this.#core.readNamespacedPod({ name: pod, namespace })).metadata?.uid;
    const bound = uid ? { boundObjectRef: { apiVersion: "v1", kind: "Pod", name: pod, uid } } : {};
    const body = { spec: { audiences, expirationSeconds: 3600, ...bound } };
    const { status } = await this.#core.createNamespacedServiceAccountToken({ name, namespace, body });
    return status!.token;
  }

  async #create(object: KubernetesObject): Promise<void> {
    await this.#objects.create(object);
    this.#created.push(object);
  }

  async #writeKubeconfig(path: string, user: Partial<User>): Promise<void> {
    const { name, server, caData, skipTLSVerify } = this.#config.getCurrentCluster()!;
    const member = new KubeConfig();
    member.loadFromOptions({
      clusters: [{ name, server, caData, skipTLSVerify }],
      users: [{ ...user, name: "member" }],
      contexts: [{ name: "member", cluster: name, user: "member", namespace: this.namespace }],
      currentContext: "member",
    });
    await writeFile(path, member.exportConfig());
  }

  async createPod(name: string, wish: RealPodWish, serviceAccountName = "frontcache"): Promise<void> {
    await this.#core.createNamespacedPod({
      namespace: this.namespace,
      body: {
        metadata: { name, labels: { app: "frontcache" }, finalizers: [FINALIZER] },
        spec: {
          schedulerName: SCHEDULER,
          serviceAccountName,
          containers: [{ name: "frontcache", image: "frontcache" }],
        },
      },
    });
    await this.setStatus(name, wish);
  }

  /** Reports a pod's status as a kubelet would. */
  async setStatus(name: string, { ready, ip }: RealPodWish): Promise<void> {
    await this.#change(name, "status", (pod) => ({
      ...pod,
      status: {
        ...pod.status,
        phase: "Running",
        ...(ip === undefined ? {} : { podIP: ip, podIPs: [{ ip }] }),
        conditions: [{ type: "Ready", status: ready ? "True" : "False", lastTransitionTime: new Date() }],
      },
    }));
  }

  /** Starts a pod's deletion. It is terminating until `endPod`. */
  async deletePod(name: string): Promise<void> {
    await this.#core.deleteNamespacedPod({ name, namespace: this.namespace });
  }

  async endPod(name: string): Promise<void> {
    await this.#change(name, "metadata", (pod) => ({ ...pod, metadata: { ...pod.metadata, finalizers: [] } }));
  }

  /** Deletes everything. A cluster without controllers keeps the empty namespace as terminating. */
  async release(): Promise<void> {
    for (const object of this.#created) await this.#objects.delete(object);
    const { items } = await this.#core.listNamespacedPod({ namespace: this.namespace });
    for (const { metadata } of items) {
      if (metadata?.deletionTimestamp === undefined) await this.deletePod(metadata!.name!);
      await this.endPod(metadata!.name!);
    }
    await this.#core.deleteNamespace({ name: this.namespace });
  }

  async #change(name: string, part: "status" | "metadata", change: (pod: V1Pod) => V1Pod): Promise<void> {
    const { namespace } = this;
    const body = change(await this.#core.readNamespacedPod({ name, namespace }));
    if (part === "status") await this.#core.replaceNamespacedPodStatus({ name, namespace, body });
    else await this.#core.replaceNamespacedPod({ name, namespace, body });
  }
}
