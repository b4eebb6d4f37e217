package hub

import (
	"fmt"
	"os"
)

// checkRoom refuses a download that the disk has no room for, before it begins.
func (c *Client) checkRoom(n Name, missing []string, files map[string]file) error {
	var need int64
	for _, name := range missing {
		blob := c.path(n, "blobs", files[name].hash())
		if _, err := os.Stat(blob); err == nil {
			continue
		}
		need += files[name].Size
		if info, err := os.Stat(blob + ".incomplete"); err == nil {
			need -= min(info.Size(), files[name].Size)
		}
	}
	if need == 0 {
		return nil
	}
	if err := os.MkdirAll(c.Cache, 0o755); err != nil {
		return err
	}
	if left := free(c.Cache); left >= 0 && need > left {
		return fmt.Errorf("%s has room for %d MB, %d MB are to be downloaded: free some, or set HF_HUB_CACHE to another disk", c.Cache, left>>20, need>>20)
	}
	return nil
}
