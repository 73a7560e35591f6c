import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

export const deployFolder = join(import.meta.dirname, "..", "..", "deploy");

/** The reason why manifests cannot be rendered here; undefined: they can. */
export const cannotRender: string | undefined =
  spawnSync("kubectl", ["version", "--client"], { stdio: "ignore" }).status === 0 ? undefined : "kubectl is not installed";

interface Probe {
  readonly grpc?: { readonly port: number };
  readonly httpGet?: { readonly path: string; readonly port: string; readonly scheme: string };
  readonly periodSeconds: number;
  readonly failureThreshold: number;
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly env?: readonly { name: string; value?: string; valueFrom?: { fieldRef?: { fieldPath: string } } }[];
  readonly envFrom?: readonly { configMapRef?: { name: string }; secretRef?: { name: string } }[];
  readonly ports?: readonly { name: string; containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly resources: { readonly requests: Record<string, string>; readonly limits: Record<string, string> };
  readonly securityContext: Record<string, unknown>;
  readonly volumeMounts: readonly { name: string; mountPath: string }[];
}

export interface PodTemplate {
  readonly metadata: { readonly labels: Record<string, string>; readonly annotations?: Record<string, string> };
  readonly spec: {
    readonly serviceAccountName?: string;
    readonly automountServiceAccountToken: boolean;
    readonly enableServiceLinks?: boolean;
    readonly terminationGracePeriodSeconds?: number;
    readonly securityContext: Record<string, unknown>;
    readonly initContainers?: readonly Container[];
    readonly containers: readonly Container[];
    readonly volumes?: readonly { name: string; secret?: { secretName: string; defaultMode: number } }[];
    readonly topologySpreadConstraints?: readonly {
      topologyKey: string;
      labelSelector: { matchLabels: Record<string, string> };
    }[];
  };
}

/** A rendered object. The optional fields depend on its kind. */
export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly annotations?: Record<string, string> };
  readonly spec: {
    readonly template: PodTemplate;
    readonly selector: Record<string, string> & { readonly matchLabels?: Record<string, string> };
    readonly clusterIP?: string;
    readonly secretName?: string;
    readonly usages?: readonly string[];
    readonly dnsNames?: readonly string[];
    readonly internalTrafficPolicy?: string;
    readonly ports: readonly { name: string; port: number; targetPort: string }[];
    readonly serviceName?: string;
    readonly podManagementPolicy?: string;
    readonly volumeClaimTemplates?: readonly { metadata: { name: string } }[];
    readonly podSelector: { readonly matchLabels: Record<string, string> };
    readonly ingress: readonly { readonly ports: readonly { port: string }[] }[];
  };
  readonly data?: Record<string, string>;
  readonly rules?: unknown;
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { kind: string; name: string; namespace?: string }[];
}

/** The output of `kubectl kustomize` for a folder of `deploy/`. */
export class Rendered {
  readonly manifests: readonly Manifest[];

  constructor(folder: string) {
    const { status, stdout, stderr } = spawnSync("kubectl", ["kustomize", join(deployFolder, folder)], { encoding: "utf8" });
    if (status !== 0) throw new Error(`kubectl kustomize ${folder}: ${stderr}`);
    this.manifests = parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
  }

  all(kind: string): Manifest[] {
    return this.manifests.filter((manifest) => manifest.kind === kind);
  }

  /** Returns the only object of a kind, or the one with the name. */
  one(kind: string, name?: string): Manifest {
    const found = this.all(kind).filter((manifest) => name === undefined || manifest.metadata.name === name);
    if (found.length !== 1) throw new Error(`${found.length} of ${kind} ${name ?? ""}`);
    return found[0]!;
  }

  /** The workload whose pods are the members. */
  get members(): Manifest {
    const found = [...this.all("StatefulSet"), ...this.all("DaemonSet")];
    if (found.length !== 1) throw new Error(`${found.length} workloads of members`);
    return found[0]!;
  }

  get container(): Container {
    return this.members.spec.template.spec.containers[0]!;
  }

  /** Returns the members' environment. References to fields of the pod are `<fieldPath>`, or their values in `fields`. */
  environment(fields: Readonly<Record<string, string>>): Record<string, string> {
    const maps = (this.container.envFrom ?? []).flatMap(({ configMapRef }) =>
      configMapRef === undefined ? [] : [this.one("ConfigMap", configMapRef.name).data ?? {}],
    );
    const own = (this.container.env ?? []).map(({ name, value, valueFrom }) => {
      const path = valueFrom?.fieldRef?.fieldPath ?? "";
      return [name, value ?? fields[path] ?? `<${path}>`] as const;
    });
    return { ...Object.assign({}, ...maps), ...Object.fromEntries(own) };
  }
}
