package ext4

import (
	"testing"
	"time"
)

func TestTimesAreClampedToExt4sRange(t *testing.T) {
	first, last := time.Date(1901, 12, 13, 20, 45, 52, 0, time.UTC), time.Date(2446, 5, 10, 22, 38, 55, 0, time.UTC)
	tests := map[string]struct{ time, want time.Time }{
		"year 0":           {time.Date(0, 1, 1, 0, 0, 0, 5, time.UTC), first},
		"the first second": {first.Add(7), first.Add(7)},
		"before 1970":      {time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC)},
		"after 2038":       {time.Date(2038, 1, 19, 3, 14, 8, 1, time.UTC), time.Date(2038, 1, 19, 3, 14, 8, 1, time.UTC)},
		"the last second":  {last, last},
		"year 9999":        {time.Date(9999, 1, 1, 0, 0, 0, 5, time.UTC), last},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			low, extra := diskTime(tt.time.Unix(), uint32(tt.time.Nanosecond()))
			// Decode as fs/ext4/ext4.h does.
			got := time.Unix(int64(int32(low))+int64(extra&3)<<32, int64(extra>>2)).UTC()
			if !got.Equal(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
