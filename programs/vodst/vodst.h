/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_VODST_VODST_H
#define PROGRAMS_VODST_VODST_H

/* The commands of the `vodst` program: each parses its own options (argv[0] is
 * the command's name) and returns the exit status. */
int up_main(int argc, char **argv);
int down_main(int argc, char **argv);
int status_main(int argc, char **argv);
int ingest_main(int argc, char **argv);
int audience_main(int argc, char **argv);
int override_main(int argc, char **argv);
int collect_main(int argc, char **argv);

/* An exit status, as sysexits.h has it: a failure that may be over later. */
#define EXIT_TEMPORARY 75

#endif
