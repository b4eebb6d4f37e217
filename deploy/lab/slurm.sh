#!/bin/bash
# Submits a laboratory to Slurm: an array of jobs that train members, one a task;
# behind it an array of the experiments, which measure when all members are there;
# and behind that the report.
#
#   WARM_DATA=/data LAB=/shared/lab deploy/lab/slurm.sh [SBATCH OPTIONS]
#
#   WARM_DATA  directory of the data sets ("warm lab --help" says what is in it)
#   LAB        directory of the laboratory, on a file system that all nodes share
#   BASE       checkpoint to start from; default the model that is part of warm
#   SIZE       paper (default) or small
#   WARM       the program; default warm
#
# "warm lab all --size paper --list" prints the tasks with estimates. A task is told
# two minutes before its time limit and saves its state. Submit the same again to go
# on: what is done is left alone, and the rest ends in the same bytes.
set -euo pipefail
: "${WARM_DATA:?set WARM_DATA to the directory of the data sets}"
: "${LAB:?set LAB to a directory that all nodes share}"
export WARM_DATA LAB WARM="${WARM:-warm}" SIZE="${SIZE:-paper}" BASE="${BASE:-embedded:}"
task="$(dirname "$0")/task.sbatch"
list="$("$WARM" lab all --size "$SIZE" --base "$BASE" --out "$LAB" --list)"
# The last two lines: "tasks 1 to 40 train members: …" and "tasks 41 to 47 measure, …".
members="$(awk '/^tasks .* train members/ { print $2 "-" $4 }' <<<"$list")"
experiments="$(awk '/^tasks .* measure/ { print $2 "-" $4 }' <<<"$list")"
: "${members:?no members in the list of tasks}" "${experiments:?no experiments in the list of tasks}"
trained="$(sbatch --parsable --array="$members" "$@" "$task")"
# One experiment at a time: they share what they make beside members, such as the
# policy that best-of-N and reinforcement learning begin with.
measured="$(sbatch --parsable --array="$experiments%1" --dependency="afterok:$trained" "$@" "$task")"
reported="$(sbatch --parsable --dependency="afterany:$measured" "$@" "$task")"
echo "members $members: job $trained"
echo "experiments $experiments: job $measured"
echo "report: job $reported"
