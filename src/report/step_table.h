/*
 * The race diagram: one column a thread, one row a step. Kernel thread.
 */
#ifndef WAKEFUZZ_REPORT_STEP_TABLE_H
#define WAKEFUZZ_REPORT_STEP_TABLE_H

#include "report/rows.h"
#include "report/step_text.h"

enum { REPORT_COLUMN_MAX = 46, REPORT_TABLE_WIDTH = 118, REPORT_COLUMNS_MAX = 6 };

/*
 * Print the rows. A column is as wide as its longest text, at most REPORT_COLUMN_MAX, and less where there are many
 * threads. In a text that is longer the function's name gives way first, as the values are what one looks for. Prints
 * nothing where there are no rows.
 */
void report_step_table(FILE *out, CheckTrace trace, const ReportRow *rows, unsigned count, size_t hidden);

#endif
