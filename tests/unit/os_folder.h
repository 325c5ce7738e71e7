/* A folder of its own for programs that make files: below the current one, as /tmp may be a file system without O_DIRECT. */
#ifndef WAKEFUZZ_TESTS_UNIT_OS_FOLDER_H
#define WAKEFUZZ_TESTS_UNIT_OS_FOLDER_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder_path[] = "os-test-XXXXXX";

/* Before the programs: makes it the current folder. Aborts where it cannot. */
static inline void folder_enter(void)
{
    if (!mkdtemp(folder_path) || chdir(folder_path) < 0) {
        perror(folder_path);
        abort();
    }
}

static inline void folder_leave(void)
{
    if (chdir("..") < 0 || rmdir(folder_path) < 0) {
        perror(folder_path); /* a program has left a file: in the simulated OS, or natively */
        abort();
    }
}

/* Does this file system do O_DIRECT by the rules that are modelled: in blocks of 512 bytes or more, and not in single ones? */
static inline bool folder_direct(void)
{
    static char buffer[8192] __attribute__((aligned(4096)));
    int fd = open("direct", O_CREAT | O_RDWR | O_DIRECT, 0600);
    bool good = fd >= 0 && pwrite(fd, buffer, 4096, 0) == 4096 && pread(fd, buffer, 4096, 0) == 4096 &&
                pread(fd, buffer + 1, 4096, 0) < 0 && pwrite(fd, buffer, 100, 0) < 0;

    if (fd >= 0) {
        close(fd);
        unlink("direct");
    }
    return good;
}

#endif
