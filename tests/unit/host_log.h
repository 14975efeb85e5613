#ifndef BULKHEAD_TESTS_UNIT_HOST_LOG_H
#define BULKHEAD_TESTS_UNIT_HOST_LOG_H

#define HOST_LOG_SIZE 65536

/* What the code under test has logged, a line each, as "level: text\n". */
extern char host_log_text[HOST_LOG_SIZE];

void host_log_clear(void);

#endif
