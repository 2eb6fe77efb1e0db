/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MLIC_MLIC_H
#define PROGRAMS_MLIC_MLIC_H

/* The commands of the `mlic` program: each parses its own options (argv[0] is the
 * command's name) and returns the exit status. */
int serve_main(int argc, char **argv);
int rewrap_main(int argc, char **argv);
int audit_main(int argc, char **argv);

/* The key of the audit, of a private file with a line of 64 hex digits; wipe it.
 * The reason of a failure is logged. As key_file_read. */
int audit_key_read(const char *path, unsigned char out[32]);

#endif
