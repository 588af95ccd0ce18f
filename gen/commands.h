/*
 * commands: what each command of `mailreeve` does. Each gives an exit status
 * as struct command says.
 */
#ifndef GEN_COMMANDS_H
#define GEN_COMMANDS_H

struct args;

int command_check(const struct args *a);
int command_lint(const struct args *a);
int command_compile(const struct args *a);
int command_audit(const struct args *a);
int command_explain(const struct args *a);
int command_diff(const struct args *a);
int command_test(const struct args *a);
int command_fmt(const struct args *a);
int command_points(const struct args *a);
int command_schema(const struct args *a);
int command_manual(const struct args *a);
int command_completion(const struct args *a);

#endif
