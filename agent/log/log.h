/*
 * log: what the agent says, to the journal with fields where standard error is connected to it
 * (JOURNAL_STREAM, sd-journal(3)), else as lines "level: text key=value ..." on standard error.
 * A text never brings a line or field of its own: control characters are escaped.
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stddef.h>

enum log_level { LOG_IS_ERROR = 3, LOG_IS_WARNING = 4, LOG_IS_NOTICE = 5, LOG_IS_INFO = 6 };

struct log_field {
	const char *key;           /* "STATEMENT": told as MAILREEVE_STATEMENT */
	const char *value;         /* NULL: the field is left out */
};

/* Says which part of the agent speaks: "mailreeved", "mailreeved apply". The text must last. */
void
log_begin(const char *who);

/* Says a sentence, with fields (an entry whose key is NULL ends the list; NULL: none). */
void
log_say(enum log_level l, const struct log_field *f, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
