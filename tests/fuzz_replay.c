/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over the files of the folders named on the command line:
 * every seed, and every input that once crashed it, in the ordinary suite.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return 1;
    }
    long size = -1;
    if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0)
        rewind(f);
    /* exactly the size, so that a sanitizer sees any step past the end */
    uint8_t *data =
        size >= 0 ? malloc((size_t) size ? (size_t) size : 1) : NULL;
    int failed =
        data == NULL || fread(data, 1, (size_t) size, f) != (size_t) size;
    fclose(f);
    if (failed)
        fprintf(stderr, "%s: cannot be read\n", path);
    else
        LLVMFuzzerTestOneInput(data, (size_t) size);
    free(data);
    return failed;
}

static int
replay_folder(const char *folder, unsigned *count)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        perror(folder);
        return 1;
    }
    int failed = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        failed |= replay_file(path);
        ++*count;
    }
    closedir(dir);
    return failed;
}

int
main(int argc, char **argv)
{
    int failed = 0;
    unsigned count = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay_folder(argv[i], &count);
    /* the empty input is a seed that needs no file */
    LLVMFuzzerTestOneInput((const uint8_t *) "", 0);
    printf("%u inputs\n", count);
    return failed || count == 0;
}
