/* A finding as a page: one HTML file that takes nothing from elsewhere. One thread. */
#ifndef WAKEFUZZ_CLI_PAGE_H
#define WAKEFUZZ_CLI_PAGE_H

#include "cli/facts.h"

typedef struct PageSubject {
    const char *program; /* the target's, or the fault's name */
    const char *flavour;
    const char *replay;  /* the command */
    const char *file;    /* base name */
    const char *report;  /* what a sanitizer said, or NULL */
} PageSubject;

/* The page; the same for the same facts. Free it. */
char *page_make(const PageSubject *subject, JsonObject *facts);

#endif
