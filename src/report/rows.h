/*
 * Which steps of a trace a reader needs to see. Pure but for the names of blocked threads; kernel thread.
 */
#ifndef WAKEFUZZ_REPORT_ROWS_H
#define WAKEFUZZ_REPORT_ROWS_H

#include "check/check.h"

enum { REPORT_ROWS_MAX = 40 };

typedef struct ReportRow {
    size_t step;
    uint8_t weight; /* the heavier stays when there are too many */
    bool marked;    /* a step of the bug itself: '*' */
    bool no_wakeup; /* here the waker decided to wake nobody */
    bool by_hand;   /* made by the experiment, not by the execution */
} ReportRow;

/* Fill rows[] with at most REPORT_ROWS_MAX steps in order; returns how many. *hidden: steps that mattered, too, but
 * found no room. */
unsigned report_choose_rows(CheckTrace trace, const CheckResult *check, ReportRow rows[REPORT_ROWS_MAX], size_t *hidden);

#endif
