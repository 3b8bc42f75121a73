/* Network benchmarks, for a Linux guest: net up|down|conn HOST PORT COUNT prints one line.
 *
 * up     sends COUNT bytes and waits for the other side to end
 * down   asks for COUNT bytes (a line) and reads them
 * conn   makes COUNT connections one after the other, sends a byte on each and reads until its end
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 18];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static int dial(const char *host, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	int s = socket(AF_INET, SOCK_STREAM, 0);
	inet_aton(host, &to.sin_addr);
	if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof to)) {
		perror("net: connect");
		exit(1);
	}
	return s;
}

static long drain(int s)
{
	long done = 0;
	ssize_t count;
	while ((count = read(s, buffer, sizeof buffer)) > 0)
		done += count;
	close(s);
	return done;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	long count = atol(argv[4]), done = 0;
	double start = now();
	if (!strcmp(argv[1], "conn")) {
		for (; done < count; done++) {
			int s = dial(argv[2], argv[3]);
			if (write(s, "x", 1) != 1)
				return 1;
			shutdown(s, SHUT_WR);
			drain(s);
		}
	} else if (!strcmp(argv[1], "up")) {
		int s = dial(argv[2], argv[3]);
		while (done < count) {
			ssize_t sent = write(s, buffer, count - done < (long)sizeof buffer ? count - done : sizeof buffer);
			if (sent < 0)
				return 1;
			done += sent;
		}
		shutdown(s, SHUT_WR);
		drain(s);
	} else {
		int s = dial(argv[2], argv[3]);
		dprintf(s, "%ld\n", count);
		done = drain(s);
	}
	printf("RESULT %s %ld %.6f\n", argv[1], done, now() - start);
	return done != count;
}
