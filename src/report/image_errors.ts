// SPDX-License-Identifier: Apache-2.0
/** Failures of images: from the reference over the registry and the store to what is saved. */
import { type ErrorRow, FAILED } from './error_row.js'

export const IMAGE_ERRORS = {
  BERTH_EAUTH: {
    text: 'failed to import docker image: {image}: {host} wants other credentials, or has no such image',
    hint: 'log in with `docker login {host}` or `podman login {host}` and submit again; looked in {files}',
    exit: FAILED,
  },
  BERTH_ECANCELED: {
    text: 'import of {image} was canceled',
    hint: 'run the step again; nothing of the import is left behind',
    exit: FAILED,
  },
  BERTH_EDIGEST: {
    text: 'failed to import docker image: {image}: {object} does not match its digest {digest}',
    hint: 'the registry or a proxy before it sent other bytes than were asked for: try again, then ask its operator',
    exit: FAILED,
  },
  BERTH_EDOCKERD: {
    text: 'failed to import docker image: {image}: docker on this node: {problem}',
    hint: 'see what `docker image inspect` says to you there, or use a file: `docker save -o x.tar IMAGE`, then docker-archive:x.tar',
    exit: FAILED,
  },
  BERTH_EHANDOUTS: {
    text: 'user {uid} holds {count} images of this node already',
    hint: 'give them back with `berth importer release` in the steps that took them',
    exit: FAILED,
  },
  BERTH_EIMAGEFILE: {
    text: 'image file {path}: {problem}',
    hint: '{next}',
    exit: FAILED,
  },
  BERTH_EIMAGENOTFOUND: {
    text: 'failed to import docker image: {image}: {problem}',
    hint: 'check name and tag; `berth pull {image}` tries it without a job',
    exit: FAILED,
  },
  BERTH_EIMAGEREF: {
    text: 'image reference {reference}: {problem}',
    hint: 'write [REGISTRY/]NAME[:TAG][@sha256:...], REGISTRY#NAME[:TAG], ./FILE.sqsh, oci:DIR, oci-archive:FILE, docker-archive:FILE or dockerd://IMAGE',
    exit: FAILED,
  },
  BERTH_EIMAGEUSED: {
    text: 'image {image} is below the containers {containers}',
    hint: 'remove those first: `berth containers rm NAME`',
    exit: FAILED,
  },
  BERTH_EIMPORTER: {
    text: 'failed to import docker image: {image}: the importer {problem}',
    hint: "run the step again; if it fails again, tell the operators of the node, who report it with the worker's log",
    exit: FAILED,
  },
  BERTH_ELAYER: {
    text: 'failed to import docker image: {image}: layer {digest}: {problem}',
    hint: 'the layer is damaged where it is kept: pull it with another tool to confirm, then push the image again',
    exit: FAILED,
  },
  BERTH_EMANIFEST: {
    text: 'failed to import docker image: {image}: {problem}',
    hint: 'push the image, or make the file, again with a current tool (docker, podman, skopeo)',
    exit: FAILED,
  },
  BERTH_ENOSUCHIMAGE: {
    text: 'no image {image} in the store of this node',
    hint: '`berth images` lists what is there',
    exit: FAILED,
  },
  BERTH_EPLATFORM: {
    text: 'failed to import docker image: {image}: nothing for {platform} in it, only {available}',
    hint: "ask for a tag that is built for this node's processor",
    exit: FAILED,
  },
  BERTH_EREGISTRY: {
    text: 'failed to import docker image: {image}: {host}: {problem}',
    hint: 'check from this node that {host} can be reached (name, proxy, firewall, certificate), or try again later',
    exit: FAILED,
  },
  BERTH_EROOT: {
    text: '{what} is for root only, not for user {uid}',
    hint: 'ask the operator of this node',
    exit: FAILED,
  },
  BERTH_ESAVE: {
    text: 'failed to save the container to {path}: {problem}',
    hint: 'a file of that name is unchanged; name a file in a directory that you may write to, or make room there, and run the step again',
    exit: FAILED,
  },
  BERTH_ESHARED: {
    text: 'the shared store {directory} cannot be used: {problem}',
    hint: '{fix}',
    exit: FAILED,
  },
  BERTH_ESHAREDIMAGE: {
    text: '{image} cannot be had from the shared store {directory}: {problem}',
    hint: 'run the step again, or `berth pull {image}`: it is imported anew',
    exit: FAILED,
  },
  BERTH_ESIF: {
    text: 'image file {path} (SIF) {problem}',
    hint: 'build the file anew, or copy it again from where it came',
    exit: FAILED,
  },
  BERTH_ESIFENGINE: {
    text: 'image file {path} (SIF) {problem}, which only its own engine can run',
    hint: 'in a step without --container-image {engine} runs it by itself; for berth build it as a plain SIF, or take the image from its registry',
    exit: FAILED,
  },
  BERTH_ESIFSIGNATURE: {
    text: 'image file {path} (SIF) {problem}',
    hint: 'sign it by `apptainer sign` with a key of {keys}, or ask the operators of this node to put its key there; `apptainer verify` tells more',
    exit: FAILED,
  },
  BERTH_ESITEIMPORTER: {
    text: 'failed to import docker image: {image}: the importer of this site, {program}, {problem}',
    hint: 'ask the operators: the program is theirs, named in {origin}',
    exit: FAILED,
  },
  BERTH_ESPACE: {
    text: 'no space left in {path}: {bytes} more bytes needed',
    hint: 'try another node (srun --exclude=NODE) and tell the operators of this one: they free space there, remove images with `berth rm`, or lower the quota so that old ones go earlier',
    exit: FAILED,
  },
  BERTH_ESQUASHFS: {
    text: 'squashfs file {path}: {problem}',
    hint: 'make the file anew, or use the image from a registry, oci: or an archive instead',
    exit: FAILED,
  },
  BERTH_ESTORE: {
    text: 'the store {path} of this node cannot be used: {problem}',
    hint: 'run the step on other nodes (`srun --exclude`), and tell the operators of this one: `berth doctor` there says more',
    exit: FAILED,
  },
  BERTH_ETOOBIG: {
    text: 'failed to import docker image: {image}: {problem}',
    hint: "the limit is the site's; ask for a larger one or use a smaller image",
    exit: FAILED,
  },
  BERTH_EUNSHARED: {
    text: '--container-unshare={namespace} requested but the container is not in a separate {words}',
    hint: 'give the flag to the step that starts the container, or use --container-name={name}:no_exec',
    exit: FAILED,
  },
} as const satisfies Record<string, ErrorRow>
