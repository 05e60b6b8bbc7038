// SPDX-License-Identifier: Apache-2.0
/** Profiles that every site has, in the words of berth.conf; one of the same name there takes its place. */
export const SHIPPED_PROFILES = `
[profile mpich]
help = the host's MPICH, from where its packages put it, in place of the image's
conflicts = openmpi
mpi = /usr
mpi_family = mpich

[profile openmpi]
help = the host's Open MPI, from where its packages put it, in place of the image's of the same major release
conflicts = mpich
mpi = /usr
mpi_family = openmpi

[profile cxi]
help = Slingshot: libcxi and the host's libfabric with its CXI provider
trigger = annotation com.hooks.cxi.enabled
bind[] = /usr/lib64/libcxi.so*:/opt/berth/cxi/:ro+nofail
bind[] = /usr/lib/x86_64-linux-gnu/libcxi.so*:/opt/berth/cxi/:ro+nofail
bind[] = /opt/cray/libfabric/*/lib64/libfabric.so*:/opt/berth/cxi/:ro+nofail
ld_path = /opt/berth/cxi
env_set[] = FI_CXI_DISABLE_HOST_REGISTER=1
env_keep[] = FI_PROVIDER
env_keep[] = FI_CXI_DEFAULT_VNI

[profile verbs]
help = InfiniBand: the host's list of verbs drivers, for images whose own libraries are of the same release
bind[] = /etc/libibverbs.d::ro+nofail
bind[] = /etc/rdma::ro+nofail

[profile nvidia]
help = all GPUs that the step was given, from the CDI file of NVIDIA's toolkit
devices = nvidia.com/gpu=all

[profile rocm]
help = the host's ROCm at /opt/rocm, for images that bring none
bind[] = /opt/rocm::ro
env_append[] = PATH=/opt/rocm/bin
ld_path = /opt/rocm/lib

[profile slurm]
help = srun, squeue and the like inside: the host's programs, their libraries, configuration and munge's socket
bind[] = \${BERTH}::ro
bind[] = /run/munge::nofail
bind[] = /run/slurm::nofail
bind[] = /etc/slurm::ro+nofail
bind[] = /etc/slurm-llnl::ro+nofail
bind[] = /usr/lib/*-linux-gnu/slurm*::ro+nofail
bind[] = /usr/lib64/slurm::ro+nofail
bind[] = /usr/lib64/libslurm*.so*::ro+nofail
bind[] = /usr/lib/*-linux-gnu/libmunge.so.*:/opt/berth/slurm/lib/:ro+nofail
bind[] = /usr/lib/*-linux-gnu/liblz4.so.1:/opt/berth/slurm/lib/:ro+nofail
bind[] = /usr/lib64/libmunge.so.*:/opt/berth/slurm/lib/:ro+nofail
bind[] = /usr/lib64/liblz4.so.1:/opt/berth/slurm/lib/:ro+nofail
bind[] = /usr/bin/srun:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/sbatch:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/salloc:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/scancel:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/squeue:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/sinfo:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/scontrol:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/sacct:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/sattach:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/sbcast:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/sstat:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/sprio:/opt/berth/slurm/bin/:ro+nofail
bind[] = /usr/bin/sshare:/opt/berth/slurm/bin/:ro+nofail
env_append[] = PATH=/opt/berth/slurm/bin
env_append[] = LD_LIBRARY_PATH=/opt/berth/slurm/lib

[profile home]
help = the home directory
bind[] = \${HOME}

[profile scratch]
help = the directory that SCRATCH names
bind[] = \${SCRATCH}
`
