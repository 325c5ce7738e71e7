/* A bar on stderr for work that takes its time. See cli.h. One thread. */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

enum { BAR_CELLS = 24 };

static unsigned done, total;

static void show(const char *what)
{
    unsigned filled = total ? done * BAR_CELLS / total : 0;

    if (!isatty(STDERR_FILENO)) {
        return;
    }
    fprintf(stderr, "\r\033[K[");
    for (unsigned i = 0; i < BAR_CELLS; i++) {
        fputc(i < filled ? '#' : '.', stderr);
    }
    fprintf(stderr, "] %u/%u %s", done, total, what);
    fflush(stderr);
}

void cli_progress_begin(unsigned steps)
{
    done = 0;
    total = steps;
}

void cli_progress_step(const char *next)
{
    show(next);
    done += done < total;
}

void cli_progress_end(void)
{
    if (total && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
    total = 0;
}
