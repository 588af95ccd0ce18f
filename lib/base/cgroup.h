/*
 * cgroup: where systemd puts what it starts.
 *
 * A unit is named as systemctl(1) does ("apache2.service"); the kernel knows the path of its control
 * group below the root. Source: systemd.unit(5), systemd.slice(5).
 */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

struct arena;

/* The control group of a unit of the system manager, without a slash in front. What holds a slash is
 * such a path already and comes back as it is; a slice stands in its parents ("a-b.slice" in
 * "a.slice"); an instance of a template in its template's slice ("system.slice/system-getty.slice/
 * getty@tty1.service"); everything else in system.slice. The result is in the arena, or is `unit`. */
const char *
cgroup_of_unit(struct arena *a, const char *unit);

#endif
