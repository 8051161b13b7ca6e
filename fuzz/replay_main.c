/* SPDX-License-Identifier: MIT */
/*
 * Purpose: runs a fuzz target over files and folders of inputs, without libFuzzer: what was found once is tested
 * for ever, with any compiler. No input at all is a failure: a test of nothing would pass.
 * usage: replay-TARGET FILE|FOLDER...
 */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replayed;

static int replay_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    /* Exactly as long as the input, so that a sanitizer sees a read past it. */
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    size_t got = f != NULL && bytes != NULL ? fread(bytes, 1, size, f) : 0;

    if (f == NULL || bytes == NULL || got != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(f);
    fprintf(stderr, "%s\n", path); /* before it runs: a crash is the next line */
    (void)LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    replayed++;
    return 0;
}

static void replay(const char *path)
{
    struct stat st;
    struct dirent *entry;
    DIR *dir;

    if (stat(path, &st) != 0) {
        perror(path);
        exit(1);
    }
    if (!S_ISDIR(st.st_mode)) {
        replay_file(path, (size_t)st.st_size);
        return;
    }
    dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char name[PATH_MAX];

        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) < (int)sizeof(name))
            replay(name);
    }
    if (dir != NULL)
        closedir(dir);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%u inputs\n", replayed);
    return replayed > 0 ? 0 : 1;
}
